"""An upload for Gradescope's programming assignments, which grades there with this engine.

    make.py           `cs-vl gradescope a2_clip -o autograder.zip`: what is in the zip
    setup.sh          runs once, when Gradescope builds the image: Python, the course, what the walls need
    run_autograder    runs for each submission, as root in a new container; results.json is there whatever happens
    run.py            what it calls: one submission -> results.json
    other_user.py     the walls that are left where a container allows no namespaces: another user's rights

Format and limits: gradescope-autograders.readthedocs.io (Specifications, Submission Metadata, Troubleshooting).
"""
