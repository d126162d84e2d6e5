//! What the testbed runs in and around the sandbox of its Kubernetes node; see [`testbed::sandbox`].

use std::process::ExitCode;

fn main() -> ExitCode {
    testbed::sandbox::main()
}
