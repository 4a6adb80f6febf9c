//! Patterns of topologies. Each YAML file of this folder shows one, with the types registered here.

mod exclaim;
mod flaky;
mod grouping;
mod join;
mod measure;

use galerna::prelude::*;

fn registry() -> Registry {
    Registry::stock()
        .bolt::<exclaim::Exclaim>("exclaim")
        .bolt::<flaky::Flaky>("flaky")
        .bolt::<measure::Measure>("measure")
        .manual_bolt::<join::Join>("join")
        .grouping_factory("by-initial", grouping::ByInitial::new)
}

fn main() -> ExitCode {
    galerna::main(registry())
}

#[cfg(test)]
mod tests;
