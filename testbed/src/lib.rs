//! The real control plane and tailnet on one machine.
