#!/usr/bin/env node
// The front of a meshlet bundle: program, storage thread, packages and SQLite's addon follow as compressed comment lines (see build.ts).
// Compressed because the promise is one file of at most 2 MB; unpacking the program takes about 4 ms.
'use strict'
const PARTS = /* filled in by build.ts */ {}
const { compileFunction } = require('node:vm')

// Compiled from its own text: functions keep the whole text that they were compiled from, and this file is two megabytes long.
function runtime() {
  const fs = require('node:fs')
  const { Script } = require('node:vm')
  const { brotliDecompressSync, crc32 } = require('node:zlib')
  const part = (name) => {
    const { fromEnd, text, length, often } = PARTS[name]
    const fd = fs.openSync(__filename, 'r')
    try {
      const read = Buffer.alloc(text)
      fs.readSync(fd, read, 0, text, fs.fstatSync(fd).size - fromEnd)
      return brotliDecompressSync(often ? Buffer.from(read.latin1Slice(), 'base64') : fromBase85(read).subarray(0, length))
    } finally { fs.closeSync(fd) }
  }
  const fromBase85 = (text) => {
    const bytes = Buffer.alloc((text.length / 5) * 4)
    for (let from = 0, to = 0; from < text.length; from += 5, to += 4) {
      bytes.writeUInt32BE((((text[from] - 40) * 85 + text[from + 1] - 40) * 85 + text[from + 2] - 40) * 7225 + (text[from + 3] - 40) * 85 + text[from + 4] - 40, to)
    }
    return bytes
  }
  // The program as text and as V8 compiled it in an earlier run, kept in the state folder (agent/core/compiled-code.ts): a third of the time until
  // something is served. V8 looks at its own version and flags; that it is of this program and whole, the first 40 bytes tell.
  const likelyStateFolder = () => {
    const [, , command, ...args] = process.argv
    if (command !== 'run') return undefined
    const at = args.findIndex((a) => a === '-c' || /^--config(=|$)/.test(a))
    const file = at < 0 ? '/etc/meshlet/agent.yaml' : args[at].includes('=') ? args[at].slice(args[at].indexOf('=') + 1) : args[at + 1]
    try { return /^state:[ \t]+["']?([^\s"'#$]+)["']?[ \t]*(?:#.*)?$/m.exec(fs.readFileSync(file, 'utf8'))?.[1] ?? '/var/lib/meshlet' } catch { return undefined }
  }
  const HEAD = 40
  const compiledBefore = () => {
    const folder = likelyStateFolder()
    if (folder === undefined) return undefined
    try {
      const file = fs.readFileSync(`${folder}/compiled.bin`)
      const rest = file.subarray(HEAD - 4)
      if (file.toString('hex', 0, 32) !== PARTS.programSha256 || file.readUInt32LE(32) !== crc32(rest)) return undefined
      const code = HEAD + file.readUInt32LE(HEAD - 4)
      return { text: file.latin1Slice(HEAD, code), cachedData: file.subarray(code) }
    } catch { return undefined }
  }
  const parameters = 'exports, require, module, __filename, __dirname, meshletBundle'
  const textOf = (name) => `(function (${parameters}) {${part(name).latin1Slice()}\n})`
  const compile = (name, { text, cachedData } = { text: textOf(name) }) => new Script(text, { filename: `${__filename}#${name}`, cachedData })
  // The optimizing compilers cost a start more than they give, and eight megabytes of their own code; agent/main.ts switches them on again.
  // V8 takes only what was compiled under the same flags: the large ones of what Node brings compiled of itself come before they change, the program after.
  if (process.argv[2] === 'run') {
    for (const name of ['crypto', 'net', 'tls']) require(`node:${name}`)
    for (const flag of ['--no-opt', '--no-maglev']) require('node:v8').setFlagsFromString(flag)
  }
  const program = compile('program', compiledBefore())
  const meshletBundle = {
    version: PARTS.version, builtAt: PARTS.builtAt, file: __filename, addonSha256: PARTS.addonSha256, thread: () => part('thread').toString('latin1'), addon: () => part('addon'),
    likelyStateFolder,
    compiled: () => (program.cachedDataRejected === false ? undefined : program.createCachedData()),
    compiledFile: (code) => {
      const text = Buffer.from(textOf('program'), 'latin1')
      const rest = Buffer.concat([Buffer.alloc(4), text, code])
      rest.writeUInt32LE(text.length)
      const head = Buffer.alloc(HEAD - 4)
      head.write(PARTS.programSha256, 'hex')
      head.writeUInt32LE(crc32(rest), 32)
      return Buffer.concat([head, rest])
    },
  }
  const packages = new Map()
  // Packages are compiled at their first require.
  const load = (name) => {
    if (!(`package ${name}` in PARTS)) return require(name)
    if (!packages.has(name)) packages.set(name, run(compile(`package ${name}`), { exports: {} }))
    return packages.get(name)
  }
  const run = (script, target) => {
    script.runInThisContext().call(target.exports, target.exports, load, target, __filename, __dirname, meshletBundle)
    return target.exports
  }
  run(program, module)
}
compileFunction(`(${runtime.toString()})()`, ['PARTS', 'compileFunction', 'require', 'module', '__filename', '__dirname'])(PARTS, compileFunction, require, module, __filename, __dirname)
