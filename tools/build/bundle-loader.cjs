// Unpacks a meshlet bundle: program, storage thread, packages and SQLite's addon follow it as compressed comment lines (see build.ts).
// Compressed because a link may be slow and flash small; unpacking the program takes about 4 ms.
// Compiled from its own text: functions keep the whole text that they were compiled from, and the bundle is two megabytes long.
'use strict'
const fs = require('node:fs')
const { Script } = require('node:vm')
const { brotliDecompressSync, crc32 } = require('node:zlib')
const command = process.argv[2]

// Open to the end: an upgrade puts another file in this one's place, or writes over it, while this program runs.
const fd = fs.openSync(__filename, 'r')
const { size, uid: owner } = fs.fstatSync(fd)
const read = (name) => {
  const { fromEnd, text } = PARTS[name]
  const bytes = Buffer.alloc(text)
  fs.readSync(fd, bytes, 0, text, size - fromEnd)
  return bytes
}
// What is read and written once in a program's life, or never by one that stays; the rest is read now, as it may be wanted when the file has become another.
const AT_ONCE = ['program', 'addon', 'package mqtt']
const held = new Map()
if (command === 'run')
  for (const name of Object.keys(PARTS))
    if (PARTS[name].text !== undefined && !AT_ONCE.includes(name)) held.set(name, read(name))

const packed = (name) => {
  const bytes = held.get(name) ?? read(name)
  return PARTS[name].often
    ? Buffer.from(bytes.latin1Slice(), 'base64')
    : fromBase85(bytes).subarray(0, PARTS[name].length)
}
const part = (name) => brotliDecompressSync(packed(name))
const fromBase85 = (text) => {
  const bytes = Buffer.alloc((text.length / 5) * 4)
  for (let from = 0, to = 0; from < text.length; from += 5, to += 4) {
    bytes.writeUInt32BE(
      (((text[from] - 40) * 85 + text[from + 1] - 40) * 85 + text[from + 2] - 40) * 7225 +
        (text[from + 3] - 40) * 85 +
        text[from + 4] -
        40,
      to,
    )
  }
  return bytes
}

// What `meshlet precompile` has put beside the bundle is code: it counts only where whoever runs this program cannot have written it. Root's word counts, and that of
// the bundle's owner, who could change the bundle as well. The descriptor is what was looked at, whatever takes the name afterwards.
const beside = (suffix) => {
  let found
  try {
    found = fs.openSync(__filename + suffix, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK)
    const s = fs.fstatSync(found)
    if (s.isFile() && (s.mode & 0o022) === 0 && (s.uid === 0 || (s.uid === owner && s.uid !== process.geteuid())))
      return found
  } catch {
    /* not there, or a link: then without */
  }
  if (found !== undefined) fs.closeSync(found)
  return undefined
}
// The program as text and as V8 compiled it: a third of the time until something is served. V8 looks at its own version and flags; that it is of
// this program and whole, the first 40 bytes tell.
const HEAD = 40
const compiledBefore = () => {
  const found = beside('.compiled')
  if (found === undefined) return undefined
  try {
    const file = fs.readFileSync(found)
    const rest = file.subarray(HEAD - 4)
    if (file.toString('hex', 0, 32) !== PARTS.programSha256 || file.readUInt32LE(32) !== crc32(rest)) return undefined
    const code = HEAD + file.readUInt32LE(HEAD - 4)
    return { text: file.latin1Slice(HEAD, code), cachedData: file.subarray(code) }
  } catch {
    return undefined
  } finally {
    fs.closeSync(found)
  }
}
const parameters = 'exports, require, module, __filename, __dirname, meshletBundle'
const textOf = (name) => `(function (${parameters}) {${part(name).latin1Slice()}\n})`
const compile = (name, { text, cachedData } = { text: textOf(name) }) =>
  new Script(text, { filename: `${__filename}#${name}`, cachedData })
// The optimizing compilers cost a start more than they give, and eight megabytes of their own code; agent/main.ts switches them on again.
// V8 takes only what was compiled under the same flags: the large ones of what Node brings compiled of itself come before they change, the program after.
if (command === 'run' || command === 'precompile') {
  for (const name of ['crypto', 'net', 'tls']) require(`node:${name}`)
  for (const flag of ['--no-opt', '--no-maglev']) require('node:v8').setFlagsFromString(flag)
}
const program = compile('program', command === 'run' ? compiledBefore() : undefined)
const meshletBundle = {
  version: PARTS.version,
  builtAt: PARTS.builtAt,
  file: __filename,
  addonSha256: PARTS.addonSha256,
  thread: () => part('thread').toString('latin1'),
  packedAddon: { fd, from: size - PARTS.addon.fromEnd, length: PARTS.addon.text },
  addonBeside: () => beside('.sqlite.node'),
  usesCompiled: program.cachedDataRejected === false,
  // What of it has run so far.
  compiled: () => {
    const source = Buffer.from(textOf('program'), 'latin1')
    const rest = Buffer.concat([Buffer.alloc(4), source, program.createCachedData()])
    rest.writeUInt32LE(source.length)
    const head = Buffer.alloc(HEAD - 4)
    head.write(PARTS.programSha256, 'hex')
    head.writeUInt32LE(crc32(rest), 32)
    return Buffer.concat([head, rest])
  },
}
const packages = new Map()
// Packages are compiled at their first require.
const load = (name) => {
  const key = `package ${name}`
  if (!(key in PARTS)) return require(name)
  if (!packages.has(name)) {
    packages.set(name, run(compile(key), { exports: {} }))
    held.delete(key)
  }
  return packages.get(name)
}
const run = (script, target) => {
  script.runInThisContext().call(target.exports, target.exports, load, target, __filename, __dirname, meshletBundle)
  return target.exports
}
run(program, module)
