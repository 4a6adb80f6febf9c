//! A user's bolt, with the factory that replaces it.

use std::sync::Arc;

use super::{BoltFactory, ErasedBolt};
use crate::error::Result;
use crate::fields::Streams;

type Make<B> = Arc<dyn Fn() -> Result<B> + Send + Sync>;

/// A bolt, and the factory that makes its replacement.
pub(super) struct Instance<B> {
    make: Make<B>,
    bolt: Option<B>,
}

/// A factory of cells: `make` makes the bolt, `wrap` makes the cell.
pub(super) fn cell_factory<B, C>(
    make: impl Fn() -> Result<B> + Send + Sync + 'static,
    wrap: fn(Instance<B>) -> C,
) -> BoltFactory
where
    B: 'static,
    C: ErasedBolt + 'static,
{
    let make: Make<B> = Arc::new(make);
    Arc::new(move || {
        let bolt = Some(make()?);
        Ok(Box::new(wrap(Instance { make: make.clone(), bolt })) as Box<dyn ErasedBolt>)
    })
}

impl<B> Instance<B> {
    /// The bolt, unless the factory has failed.
    pub(super) fn get(&mut self) -> Result<&mut B> {
        self.bolt.as_mut().ok_or_else(|| "the bolt could not be made".into())
    }

    /// The streams that the bolt declares; none after the factory has failed.
    pub(super) fn output(&self, declare: impl FnOnce(&B) -> Streams) -> Streams {
        self.bolt.as_ref().map(declare).unwrap_or_default()
    }

    /// Has the bolt checked, unless the factory has failed.
    pub(super) fn check(&self, check: impl FnOnce(&B)) {
        if let Some(bolt) = &self.bolt {
            check(bolt);
        }
    }

    /// Whether the bolt does its work in ticks.
    pub(super) fn needs_ticks(&self, declare: impl FnOnce(&B) -> bool) -> bool {
        self.bolt.as_ref().is_some_and(declare)
    }

    /// Drops the bolt and makes a new one.
    pub(super) fn rebuild(&mut self) -> Result<()> {
        self.bolt = None;
        self.bolt = Some((self.make)()?);
        Ok(())
    }
}
