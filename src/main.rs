//! The `voice-gateway` binary: hands over to `cli`.

fn main() -> std::process::ExitCode {
    voice_gateway::cli::main()
}
