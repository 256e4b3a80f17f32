#!/usr/bin/env node
// prebuildify wants a node-gyp: this stands in for it, ignores its arguments and lets the install
// script build with cmake-js.
const { spawnSync } = require('node:child_process');
const { join } = require('node:path');

const script = join(__dirname, '..', 'scripts', 'install.mjs');
const result = spawnSync(process.execPath, [script, '--force'], { stdio: 'inherit' });
process.exit(result.status ?? 1);
