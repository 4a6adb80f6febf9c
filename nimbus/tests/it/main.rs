//! Integration tests of the nimbus: real sockets, a store in memory, supervisors played by the test.

mod apply;
mod artifacts;
mod cluster;
mod elf;
mod faults;
mod leaders;
mod lives;
mod logs;
mod submissions;
