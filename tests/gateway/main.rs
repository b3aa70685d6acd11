//! The real `stox` binary between a Jingle client and a phone of our own: what it does with a configuration, what it
//! shows of itself, and how it ends; and whether the front pages are true. It needs no other software.

mod binary;
mod calls;
mod carry;
mod command_line;
mod demo;
mod front_pages;
mod habits;
mod load;
mod ng;
mod records;
mod scene;
mod targets;
