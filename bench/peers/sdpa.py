"""Contiguous attention by PyTorch's SDPA at shapes of `npm run bench -- kernels`, and the rate of a
matrix product: what paging and our own matmul are to be held against. Needs PyTorch with CUDA.
    python3 bench/peers/sdpa.py [--json FILE]
Decode gives each query the KV of its own sequence, one query head per call row; grouped heads share
KV (enable_gqa). Times are medians of replayed graphs, KV rotated beyond the caches."""
import argparse
import json

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def micros(launch, calls):
    for i in range(2):
        launch(i)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(calls):
            launch(i)
    graph.replay()
    times = []
    for _ in range(15):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) * 1e3 / calls)
    return sorted(times)[len(times) // 2]


def attention(rows, bench, name, batch, context, query, heads, kv_heads, head_size=128):
    bytes_kv = 2 * batch * kv_heads * context * head_size * 2
    sets = max(1, min(16, (512 << 20) // bytes_kv + 1))
    shape = (batch, kv_heads, context, head_size)
    keys = [torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(sets)]
    values = [torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(sets)]
    q = torch.randn((batch, heads, query, head_size), device="cuda", dtype=torch.bfloat16)
    causal = query == context and query > 1
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        try:
            with sdpa_kernel(backend):
                us = micros(
                    lambda i: F.scaled_dot_product_attention(
                        q, keys[i % sets], values[i % sets], is_causal=causal, enable_gqa=True
                    ),
                    max(8, sets),
                )
        except RuntimeError as error:  # a backend that lacks this shape
            print(f"{bench:10} {name:32} {backend.name}: {str(error).splitlines()[0][:80]}")
            continue
        row = {"bench": bench, "name": name, "backend": backend.name, "us": us}
        if query == 1:
            row["gbps"] = bytes_kv / us * 1e-3
        else:
            row["tflops"] = 4e-6 * batch * heads * head_size * query * (query + 1) / 2 / us
        rows.append(row)
        print(f"{bench:10} {name:32} {backend.name:18} {us:10.1f} us {row.get('gbps', 0):8.1f} GB/s"
              f" {row.get('tflops', 0):7.1f} TFLOP/s", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    args = parser.parse_args()
    rows = []
    n = 8192
    a, b = (torch.randn((n, n), device="cuda", dtype=torch.bfloat16) for _ in range(2))
    us = micros(lambda i: torch.mm(a, b.t()), 8)
    rows.append({"bench": "matmul", "name": "M 8192, 8192 x 8192", "us": us, "tflops": 2e-6 * n**3 / us})
    print(f"matmul     8192 x 8192 x 8192 bf16: {rows[0]['tflops']:.0f} TFLOP/s")
    for m, rows_n, k in ((1, 28672, 4096), (64, 28672, 4096), (1024, 28672, 4096), (1, 4096, 14336)):
        sets = 4
        x = torch.randn((m, k), device="cuda", dtype=torch.bfloat16)
        w = [torch.randn((rows_n, k), device="cuda", dtype=torch.bfloat16) for _ in range(sets)]
        us = micros(lambda i: torch.mm(x, w[i % sets].t()), 8)
        rows.append({"bench": "matmul", "name": f"M {m}, {rows_n} x {k}", "us": us,
                     "gbps": 2 * (rows_n * k + m * k + m * rows_n) / us * 1e-3,
                     "tflops": 2e-6 * m * rows_n * k / us})
        print(f"matmul     M {m}, {rows_n} x {k}: {us:.1f} us", flush=True)
    for batch, context in ((8, 2048), (8, 32768), (64, 2048), (64, 8192), (256, 2048)):
        attention(rows, "decode", f"32/8 {batch} x {context // 1024}k", batch, context, 1, 32, 8)
    for context in (2048, 8192):
        attention(rows, "prefill", f"32/8 {context // 1024}k", 1, context, context, 32, 8)
    if args.json:
        device = torch.cuda.get_device_name(0)
        with open(args.json, "w", encoding="utf8") as out:
            json.dump({"bench": "sdpa", "torch": torch.__version__, "device": device, "rows": rows},
                      out, indent=1)


if __name__ == "__main__":
    main()
