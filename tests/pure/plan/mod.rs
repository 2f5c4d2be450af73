//! Plans carried out against a simulated AWS: named cases, and properties of every run.

mod aws;
mod cases;
mod judge;
mod operator;
mod properties;
mod strategies;
mod worker;
mod world;
