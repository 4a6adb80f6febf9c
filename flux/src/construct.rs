//! Makes components from what the file says of them: their own serde types read the located nodes,
//! so that whatever they refuse is told with its place.

mod access;
mod arguments;
mod error;
mod making;
mod node;
mod pool;
mod recipe;
mod reference;

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) use arguments::Arguments;
pub(crate) use error::in_our_words;
pub(crate) use making::{Making, Shared};
pub(crate) use pool::Pool;
pub(crate) use recipe::Given;
pub(crate) use reference::REF;
pub use reference::Ref;

use galerna_topology_api::nearest;

use crate::definition::{Call, Recipe};
use crate::problems::{Fault, did_you_mean, one_of};
use crate::registry::TypeEntry;
use crate::resolved::PathUse;
use crate::source::Span;

/// An instance of some registered type.
pub(crate) type AnyBox = Box<dyn Any + Send>;

/// What a deserializer reaches besides its node.
pub(crate) struct Scope<'a> {
    pub(crate) pool: &'a Pool,
    /// Problems that need not end the reading.
    faults: RefCell<Vec<Fault>>,
    /// Properties that were refused and are left out, so that the others are read too.
    left_out: RefCell<BTreeSet<String>>,
    /// Properties that seem to be meant by others that are unknown.
    misspelt: RefCell<BTreeSet<String>>,
    /// The property whose value was refused last.
    refused: RefCell<Option<String>>,
    /// The scalars that were read as paths.
    paths: RefCell<BTreeSet<Span>>,
}

impl<'a> Scope<'a> {
    fn new(pool: &'a Pool) -> Self {
        Self {
            pool,
            faults: RefCell::default(),
            left_out: RefCell::default(),
            misspelt: RefCell::default(),
            refused: RefCell::default(),
            paths: RefCell::default(),
        }
    }

    pub(crate) fn fault(&self, fault: Fault) {
        if !self.is_missing_with_reason(&fault) {
            self.faults.borrow_mut().push(fault);
        }
    }

    /// Whether a fault says that something is missing of which is told why.
    fn is_missing_with_reason(&self, fault: &Fault) -> bool {
        let is_missed = |property: &String| fault.message == error::missing(property);
        self.left_out.borrow().iter().any(is_missed) || self.misspelt.borrow().iter().any(is_missed)
    }

    /// Notes a property that nobody knows.
    fn unknown_property(&self, name: &str, at: Span, known: &[&str]) {
        if let Some(meant) = nearest(name, known.iter().copied()).filter(|_| name.len() < 100) {
            self.misspelt.borrow_mut().insert(meant.to_owned());
        }
        self.fault(error::unknown_property(name, known).or_at(at));
    }

    /// Notes that a scalar was read as a path.
    fn path(&self, at: Span) {
        self.paths.borrow_mut().insert(at);
    }

    fn is_left_out(&self, property: &str) -> bool {
        self.left_out.borrow().contains(property)
    }
}

/// What came of making an instance: it can be made although something is wrong with its definition.
pub(crate) struct Outcome {
    pub(crate) instance: Option<AnyBox>,
    pub(crate) faults: Vec<Fault>,
    /// What was read as paths.
    pub(crate) paths: BTreeSet<PathUse>,
}

/// Makes an instance: by its type's config or by a factory, then calls its config methods.
pub(crate) fn construct(name: &str, entry: &TypeEntry, recipe: &Recipe, pool: &Pool) -> Outcome {
    let scope = Scope::new(pool);
    let panicked = |message| Err(Fault::new(recipe.at, format!("`{name}` panicked while it was made: {message}")));
    // serde stops at the first value that is refused. Leaving that one out shows what else is wrong.
    let last = loop {
        let made = guarded(|| make(name, entry, recipe, &scope)).unwrap_or_else(panicked);
        match (made, scope.refused.take()) {
            (Err(fault), Some(property)) => {
                scope.fault(fault);
                if !scope.left_out.borrow_mut().insert(property) {
                    break None;
                }
            }
            (made, _) => break Some(made),
        }
    };
    let is_whole = scope.left_out.borrow().is_empty();
    let instance = match last {
        Some(Ok(instance)) => Some(instance).filter(|_| is_whole),
        Some(Err(fault)) => {
            scope.fault(fault.or_at(recipe.at));
            None
        }
        None => None,
    };
    let paths = scope.paths.into_inner().into_iter().map(|at| (recipe.object, at)).collect();
    Outcome { instance, faults: scope.faults.into_inner(), paths }
}

fn make(name: &str, entry: &TypeEntry, recipe: &Recipe, scope: &Scope<'_>) -> Result<AnyBox, Fault> {
    let mut instance = match &recipe.factory {
        None => (entry.make)(Given { name, recipe, scope })?,
        Some(call) => {
            let given = recipe.arguments.first().map(|node| node.at);
            if let Some(at) = given.or_else(|| recipe.properties.first().map(|entry| entry.key.at)) {
                let what = "`constructorArgs` and `properties` have no effect on what a factory makes";
                return Err(Fault::new(at, what));
            }
            let factory = named(name, "factory", call, &entry.factories)?;
            factory(Arguments::of(call, scope))?
        }
    };
    for call in &recipe.methods {
        let method = named(name, "config method", call, &entry.methods)?;
        method(instance.as_mut(), Arguments::of(call, scope))?;
    }
    Ok(instance)
}

/// What a type declares under the name of a call.
fn named<'a, F>(
    class: &str,
    what: &str,
    call: &Call,
    declared: &'a std::collections::BTreeMap<String, F>,
) -> Result<&'a F, Fault> {
    let name = &call.name.text;
    declared.get(name).ok_or_else(|| {
        let names = || declared.keys().map(String::as_str);
        let fault =
            Fault::new(call.name.at, format!("`{class}` has no {what} `{name}`{}", did_you_mean(name, names())));
        if declared.is_empty() {
            fault.help(format!("it declares none; use `properties`, or have the program register the {what}"))
        } else {
            fault.help(format!("expected {}", one_of(names())))
        }
    })
}

/// Runs user code; the error is the message that it panicked with.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message").to_owned()
    })
}
