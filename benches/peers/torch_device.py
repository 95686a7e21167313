"""What PyTorch's benchmarks share: the device, its clock and its memory, and how torch.compile is
kept from giving up without a word."""

import gc
import shutil
import subprocess
import time

import torch

import report

# Of the calibration's copy and triad, in f32: 1 GiB each.
CUDA_CALIBRATION = 1 << 28


class Device:
    """The processor with a number of threads, or a CUDA device."""

    def __init__(self, name, threads):
        self.torch = torch.device(name)
        self.cuda = self.torch.type == "cuda"
        self.elements = CUDA_CALIBRATION if self.cuda else report.CALIBRATION
        self.name, self.threads, self.adapter = "cpu", threads, None
        torch.set_num_threads(threads)
        if self.cuda:
            self.torch = torch.device("cuda", self.torch.index or 0)
            torch.cuda.set_device(self.torch)
            self.name, self.threads, self.adapter = torch.cuda.get_device_name(), None, adapter()

    def wait(self):
        if self.cuda:
            torch.cuda.synchronize()

    def time(self, run, runs):
        """Seconds of one of the runs, by the wall clock and by the device's own, if it has one."""
        if not self.cuda:
            return wall_clock(run, runs), None
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.wait()
        start = time.perf_counter()
        begin.record()
        for _ in range(runs):
            run()
        end.record()
        self.wait()
        seconds = (time.perf_counter() - start) / runs
        return seconds, begin.elapsed_time(end) / 1e3 / runs

    def pair(self, elements):
        return (torch.rand(elements, device=self.torch) for _ in range(2))

    def copy(self, target, source):
        target.copy_(source)

    def triad(self, a, b):
        a.add_(b, alpha=1e-3)

    def free_bytes(self):
        """What may still be allocated, or none where nobody tells."""
        gc.collect()  # what is gone may still hold on to memory in a cycle
        if not self.cuda:
            return report.memory_available()
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info()[0]

    def fits(self, needed, name):
        free = self.free_bytes()
        if free is None or needed <= 0.95 * free:
            return True
        report.leave_out(name, f"{needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
        return False


def wall_clock(run, runs):
    start = time.perf_counter()
    for _ in range(runs):
        run()
    return (time.perf_counter() - start) / runs


def adapter():
    """What there is to say about the CUDA device in use."""
    found = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {"name": found.name, "type": "DiscreteGpu", "backend": "cuda", "driver": driver(),
            "cuda": torch.version.cuda, "capability": f"{found.major}.{found.minor}",
            "memory_bytes": found.total_memory, "multiprocessors": found.multi_processor_count}


def driver():
    if not shutil.which("nvidia-smi"):
        return None
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    return answer[0] if answer else None


def arguments(about):
    parser = report.arguments(about)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N: default cpu")
    parser.add_argument("--threads", type=report.number, default=report.threads(),
                        help="of the processor: default as many as run at once")
    parser.add_argument("--no-compile", action="store_true", help="leaves torch.compile out")
    return parser


def parse(parser):
    """The arguments, and the device that they ask for."""
    args = parser.parse_args()
    kind = args.device.split(":")[0]
    if kind not in ("cpu", "cuda"):
        parser.error(f"--device {args.device}: cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        parser.error(f"--device {args.device}: PyTorch {torch.__version__} finds no CUDA device")
    try:
        device = Device(args.device, args.threads)
    except RuntimeError as error:
        parser.error(f"--device {args.device}: {report.reason(error)}")
    torch.manual_seed(args.seed)
    return args, device


def compiled(function):
    """torch.compile for shapes as they are. Where it has compiled a function too often it would
    run it as it is, and say so only in its log: here that is an error."""
    torch._dynamo.config.recompile_limit = 256
    torch._dynamo.config.accumulated_recompile_limit = 1024
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    return torch.compile(function, dynamic=False)


def graphed(run):
    """A CUDA graph of what `run` enqueues, warmed up on a stream aside, as PyTorch asks."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(aside)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay
