//! What a program tells of its types: `galerna types`.

use serde::Serialize;

use super::{Registry, TypeKind};
use crate::shape::Shape;

/// A type that a topology's file can name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TypeInfo {
    /// Its name, for `className`.
    pub name: String,
    /// What it can be used as.
    pub kind: TypeKind,
    /// Its other names.
    pub aliases: Vec<String>,
    /// What it is for; empty if the program does not say.
    pub summary: String,
    /// Its properties, in the order that `constructorArgs` have.
    pub properties: Vec<PropertyInfo>,
    /// How it is written; empty if the program does not say.
    pub example: String,
}

/// A property of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PropertyInfo {
    /// Its name.
    pub name: String,
    /// What it takes: `string`, `integer`, `number`, `bool`, `list of string`, `map`, `reference`, …
    pub kind: String,
    /// Whether it must be given. Where that cannot be found out it is taken to be so.
    pub is_required: bool,
}

impl Registry {
    /// All types, by kind and name.
    pub fn types(&self) -> Vec<TypeInfo> {
        let info = |(name, base): (&String, &super::Base)| {
            let doc = self.extras.get(name).and_then(|extras| extras.doc);
            let aliases = self.aliases.iter().filter(|(alias, of)| *of == name && !self.types.contains_key(*alias));
            TypeInfo {
                name: name.clone(),
                kind: base.wrap.kind(),
                aliases: aliases.map(|(alias, _)| alias.clone()).collect(),
                summary: doc.map_or_else(String::new, |doc| doc.summary.to_owned()),
                properties: (base.shape)().properties.iter().map(PropertyInfo::from).collect(),
                example: doc.map_or_else(String::new, |doc| doc.yaml_example.to_owned()),
            }
        };
        let mut types: Vec<_> = self.types.iter().map(info).collect();
        types.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        types
    }

    /// The properties of a type.
    pub(crate) fn shape(&self, name: &str) -> Option<Shape> {
        self.types.get(name).map(|base| (base.shape)())
    }
}

impl From<&crate::shape::Property> for PropertyInfo {
    fn from(property: &crate::shape::Property) -> Self {
        Self { name: property.name.to_owned(), kind: property.kind.to_string(), is_required: property.is_required }
    }
}
