"""The losses over several processes (gloo): loss and parameters' gradients are those of one process."""

import datetime
import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cs_vl.losses import distributed_info_nce, distributed_siglip, info_nce, siglip_loss

LOCAL_BATCH, IMAGE_DIM, TEXT_DIM = 4, 6, 5


class Towers(nn.Module):
    """Two linear towers, a temperature and a bias; the same in every process."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.visual, self.text = nn.Linear(IMAGE_DIM, 3), nn.Linear(TEXT_DIM, 3, bias=False)
        self.logit_scale, self.logit_bias = nn.Parameter(torch.tensor(0.0)), nn.Parameter(torch.tensor(0.0))
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, ...]:
        image_features = F.normalize(self.visual(images), dim=1)
        text_features = F.normalize(self.text(texts), dim=1)
        return image_features, text_features, self.logit_scale.exp(), self.logit_bias


def batch_of(processes: int) -> tuple[Tensor, Tensor]:
    """The whole batch, different in every row."""
    generator = torch.Generator().manual_seed(1)
    rows = processes * LOCAL_BATCH
    return torch.randn(rows, IMAGE_DIM, generator=generator), torch.randn(rows, TEXT_DIM, generator=generator)


def losses(features: tuple[Tensor, ...], info_nce, siglip) -> dict[str, Tensor]:
    images, texts, scale, bias = features
    return {
        "info_nce": info_nce(images, texts, scale) + 0 * bias,
        "siglip": siglip(images, texts, scale, bias),
    }


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name.removeprefix("module."): p.grad.clone() for name, p in model.named_parameters()}


def worker(rank: int, processes: int, folder: str) -> None:
    """One process: its own part of the batch; DDP averages the gradients."""
    torch.set_num_threads(1)
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
    if loopback:
        os.environ["GLOO_SOCKET_IFNAME"] = loopback  # whatever this machine's host name resolves to
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=processes,
        timeout=datetime.timedelta(seconds=60),
    )
    try:
        model = DistributedDataParallel(Towers())
        own = slice(rank * LOCAL_BATCH, (rank + 1) * LOCAL_BATCH)
        images, texts = (x[own] for x in batch_of(processes))
        found = {}
        for name in ("info_nce", "siglip"):
            model.zero_grad()
            loss = losses(model(images, texts), distributed_info_nce, distributed_siglip)[name]
            loss.backward()
            mean = loss.detach().clone()
            dist.all_reduce(mean)
            found[name] = {"loss": mean / processes, **gradients(model)}
        torch.save(found, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


def in_one_process(processes: int, info_nce, siglip) -> dict[str, dict[str, Tensor]]:
    model, found = Towers(), {}
    for name in ("info_nce", "siglip"):
        model.zero_grad()
        loss = losses(model(*batch_of(processes)), info_nce, siglip)[name]
        loss.backward()
        found[name] = {"loss": loss.detach(), **gradients(model)}
    return found


@pytest.mark.skipif(not dist.is_available(), reason="this torch is built without torch.distributed")
@pytest.mark.parametrize("processes", [2, 3])  # in a ring of two, left and right are the same
def test_several_processes_are_one(processes: int, tmp_path: Path):
    mp.spawn(worker, (processes, str(tmp_path)), nprocs=processes)
    expected = in_one_process(processes, info_nce, siglip_loss)
    for rank in range(processes):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, results in expected.items():
            assert found[name].keys() == results.keys()
            for what, value in results.items():
                close = dict(rtol=0, atol=1e-6, msg=lambda m, at=(name, what): f"{at}: {m}")
                torch.testing.assert_close(found[name][what], value, **close)
    assert expected["siglip"]["logit_bias"].abs() > 1e-3  # there is something to compare
    assert all(expected["info_nce"][k].abs().max() > 1e-3 for k in ("visual.weight", "text.weight"))


def test_one_process_needs_no_process_group():
    assert not dist.is_initialized()
    expected = in_one_process(2, info_nce, siglip_loss)
    found = in_one_process(2, distributed_info_nce, distributed_siglip)
    for name, results in expected.items():
        for what, value in results.items():
            torch.testing.assert_close(found[name][what], value, rtol=1e-6, atol=1e-6)
