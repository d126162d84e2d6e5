//! Tests against the testbed.
