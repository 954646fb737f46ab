#!/usr/bin/env node
// The front of a meshlet bundle: program, storage thread, packages and SQLite's addon follow as compressed comment lines (see build.ts).
// Compressed because the promise is one file of at most 2 MB; unpacking the program takes about 4 ms.
'use strict'
const PARTS = /* filled in by build.ts */ {}
const { compileFunction } = require('node:vm')

// Compiled from its own text: functions keep the whole text that they were compiled from, and this file is two megabytes long.
function runtime() {
  const fs = require('node:fs')
  const { brotliDecompressSync } = require('node:zlib')
  const part = (name) => {
    const { fromEnd, length } = PARTS[name]
    const fd = fs.openSync(__filename, 'r')
    try {
      const text = Buffer.alloc(length)
      fs.readSync(fd, text, 0, length, fs.fstatSync(fd).size - fromEnd)
      return brotliDecompressSync(Buffer.from(text.toString('latin1'), 'base64'))
    } finally { fs.closeSync(fd) }
  }
  const meshletBundle = { version: PARTS.version, builtAt: PARTS.builtAt, file: __filename, addonSha256: PARTS.addonSha256, thread: () => part('thread').toString('latin1'), addon: () => part('addon') }
  const parameters = ['exports', 'require', 'module', '__filename', '__dirname', 'meshletBundle']
  const packages = new Map()
  // Packages are compiled at their first require.
  const load = (name) => {
    if (!(`package ${name}` in PARTS)) return require(name)
    if (!packages.has(name)) packages.set(name, run(`package ${name}`, { exports: {} }))
    return packages.get(name)
  }
  const run = (name, target) => {
    compileFunction(part(name).toString('latin1'), parameters, { filename: `${__filename}#${name}` }).call(target.exports, target.exports, load, target, __filename, __dirname, meshletBundle)
    return target.exports
  }
  run('program', module)
}
compileFunction(`(${runtime.toString()})()`, ['PARTS', 'compileFunction', 'require', 'module', '__filename', '__dirname'])(PARTS, compileFunction, require, module, __filename, __dirname)
