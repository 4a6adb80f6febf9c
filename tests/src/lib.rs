//! Topology programs and daemons for the end-to-end tests.
