//! Configuration: what was typed (`layers`), what it means (`settings`), and how both are read (`reader`).
//! The built-in configuration is a file like any other, `builtin.toml`; nothing of it is known to the code.

pub(crate) mod archive;
pub(crate) mod auth;
pub(crate) mod cloudwatch;
pub(crate) mod env_file;
mod fields;
mod inherited;
pub(crate) mod layers;
pub(crate) mod limits;
mod measures;
mod outputs;
pub(crate) mod reader;
pub(crate) mod redacted;
pub(crate) mod reference;
pub(crate) mod settings;
mod streams;
pub(crate) mod traces;

pub(crate) use layers::{Layers, Origin};
pub(crate) use settings::Settings;
