#!/usr/bin/env node
// The front of a meshlet bundle: program, storage thread and SQLite's addon follow as compressed comment lines (see build.ts).
// Compressed because the promise is one file of at most 2 MB; unpacking the program takes about 4 ms.
'use strict'
const PARTS = /* filled in by build.ts */ {}
const fs = require('node:fs')
const { brotliDecompressSync } = require('node:zlib')
const { compileFunction } = require('node:vm')
const { isMainThread } = require('node:worker_threads')

function part(name) {
  const { fromEnd, length } = PARTS[name]
  const fd = fs.openSync(__filename, 'r')
  try {
    const text = Buffer.alloc(length)
    fs.readSync(fd, text, 0, length, fs.fstatSync(fd).size - fromEnd)
    return brotliDecompressSync(Buffer.from(text.toString('latin1'), 'base64'))
  } finally { fs.closeSync(fd) }
}

const meshletBundle = { version: PARTS.version, builtAt: PARTS.builtAt, file: __filename, addonSha256: PARTS.addonSha256, addon: () => part('addon') }
const parameters = ['exports', 'require', 'module', '__filename', '__dirname', 'meshletBundle']
// `importModuleDynamically` is not needed: the bundler has turned every import() into a call.
compileFunction(part(isMainThread ? 'program' : 'thread').toString('utf8'), parameters, { filename: __filename })
  .call(exports, exports, require, module, __filename, __dirname, meshletBundle)
