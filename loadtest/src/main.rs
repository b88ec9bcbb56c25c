//! The binary `headgate-loadtest`: its allocator, and the command line's exit status.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    headgate_loadtest::run(std::env::args_os())
}
