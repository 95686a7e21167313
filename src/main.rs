//! The command `wgpu-optim`.

mod command;

fn main() -> std::process::ExitCode {
    command::run()
}
