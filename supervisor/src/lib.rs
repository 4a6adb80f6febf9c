//! The node daemon of a Galerna cluster: runs the workers that it is assigned.
