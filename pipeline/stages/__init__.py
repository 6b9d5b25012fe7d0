"""Pure stages: frames in, frames out, no disk, no clock; a stage never imports a stage."""
