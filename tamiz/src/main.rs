//! The command `tamiz`.

fn main() -> std::process::ExitCode {
    tamiz::cli::main()
}
