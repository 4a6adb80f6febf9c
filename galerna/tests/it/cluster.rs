//! Commands that talk to a cluster, against a Nimbus of the test's own.

mod apply;
mod changes;
mod ended;
mod nimbus;
mod now;
mod reads;
mod submit;
mod wait;
