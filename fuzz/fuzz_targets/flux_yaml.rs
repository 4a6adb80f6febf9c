//! Whatever a topology's file holds, reading it ends in a topology or in messages, never in a panic.
#![no_main]

use galerna_flux::{Flux, Ref, Registry};
use galerna_topology_api::{Bolt, BoltResult, Emitter, Next, Result, Spout, SpoutEmitter, Streams, Tuple};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;

#[derive(Deserialize)]
struct Source {}

impl Spout for Source {
    type MessageId = ();
    fn output(&self) -> Streams {
        Streams::default_fields(["a"])
    }
    async fn next(&mut self, _: &mut SpoutEmitter<'_, ()>) -> Result<Next> {
        Ok(Next::Exhausted)
    }
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only deserialized")]
struct Sink {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    numbers: Vec<u16>,
    #[serde(default)]
    shared: Option<Ref<Shared>>,
}

impl Bolt for Sink {
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        Ok(())
    }
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "only deserialized")]
struct Shared {
    #[serde(default)]
    other: Option<Ref<Shared>>,
}

fuzz_target!(|text: &str| {
    let registry = Registry::new().spout::<Source>("source").bolt::<Sink>("sink").component::<Shared>("shared");
    if let Err(error) = Flux::parse(text).load(&registry) {
        assert!(!error.to_string().is_empty());
    }
});
