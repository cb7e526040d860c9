"""Serve the weights at PATH as an OpenAI-compatible API on 127.0.0.1:PORT, until the process is ended."""

import signal
import sys

import xllamacpp  # type: ignore[import-not-found]  # installed in the model's environment alone


def main(weights: str, port: str, seed: str) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {"smollm2-135m-instruct"}
    params.hostnames = ["127.0.0.1"]
    params.port = int(port)
    params.n_ctx = 4096
    params.n_parallel = 2
    params.use_jinja = True
    params.cache_prompt = False
    params.sampling.seed = int(seed)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


main(*sys.argv[1:])
