"""Reading the configuration of the bash ANetCon: `seed` its keys, `shell` its language, `grep` its patterns."""
