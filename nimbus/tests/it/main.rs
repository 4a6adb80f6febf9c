//! Integration tests of the nimbus: real sockets, a store in memory, supervisors played by the test.

mod addresses;
mod apply;
mod artifacts;
mod cluster;
mod counts;
mod elf;
mod ended;
mod faults;
mod leaders;
mod leaving;
mod lives;
mod logs;
mod now;
mod programs;
mod submissions;
