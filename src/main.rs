//! The command `pgforensic`: everything is in the library.

fn main() -> std::process::ExitCode {
    pgforensic::cli::main()
}
