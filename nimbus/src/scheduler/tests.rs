//! Tables and properties of the scheduler.

mod changes;
mod new;
mod properties;
mod world;
