//! The command `wgpu-optim`.

mod bench;
mod command;
mod series;

fn main() -> std::process::ExitCode {
    command::run()
}
