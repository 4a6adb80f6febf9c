//! End to end: real processes, a real etcd.
