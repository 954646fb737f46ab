#!/usr/bin/env node
// The first lines of a meshlet bundle, in ECMAScript 5: an old Node must be able to read this file, to say that it is old.
// Everything else follows in comment lines (assemble.ts). No function of this file outlives it: a function keeps the
// whole text that it was compiled from.
'use strict'
/* oxlint-disable no-var, no-unused-vars */
if (parseInt(process.versions.node, 10) < 26) {
  process.stderr.write(
    'meshlet needs Node 26 or newer, and ' + process.execPath + ' is Node ' + process.versions.node + '.\n',
  )
  process.exit(2)
}
// Node would open its inspector for it, in a program that holds keys.
process.on('SIGUSR1', Function.prototype)

var fs = require('fs')
var vm = require('vm')
var PARTS = PARTS_TABLE

// Open to the end: an upgrade puts another file in this one's place while this program runs.
var opened = fs.openSync(__filename, 'r')
var stat = fs.fstatSync(opened)
function textOf(part) {
  var bytes = Buffer.alloc(part.length)
  fs.readSync(opened, bytes, 0, part.length, stat.size - part.fromEnd)
  return bytes.toString('latin1', 2).replaceAll('\n//', '\n')
}

// What `meshlet precompile` has put beside the bundle is code: it counts only where whoever runs this program cannot
// have written it. Root's word counts, and that of the bundle's owner, who could change the bundle as well. The
// descriptor is what was looked at, whatever takes the name afterwards.
function openBeside(suffix) {
  var found
  try {
    found = fs.openSync(__filename + suffix, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK)
    var s = fs.fstatSync(found)
    var othersMayWrite = (s.mode & parseInt('022', 8)) !== 0
    if (s.isFile() && !othersMayWrite && (s.uid === 0 || (s.uid === stat.uid && s.uid !== process.geteuid())))
      return found
  } catch (_) {
    /* not there, or a link: then without */
  }
  if (found !== undefined) fs.closeSync(found)
  return undefined
}

// What V8 compiled of the program at installation. V8 looks at its own version and flags; the head tells that it is of
// this program and whole.
var HEAD = 36
function compiledBefore() {
  var found = openBeside('.compiled')
  if (found === undefined) return undefined
  try {
    var file = fs.readFileSync(found)
    var code = file.subarray(HEAD)
    var isOurs =
      file.toString('hex', 0, 32) === PARTS.programSha256 && file.readUInt32LE(32) === require('zlib').crc32(code)
    return isOurs ? code : undefined
  } catch (_) {
    return undefined
  } finally {
    fs.closeSync(found)
  }
}

// Places in a stack are those of the program alone (tools/build/stack.ts).
var WRAPPER = '(function (exports, require, module, __filename, __dirname, meshletBundle) {'
var program = new vm.Script(WRAPPER + textOf(PARTS.program) + '\n})', {
  filename: __filename + '#program',
  columnOffset: -WRAPPER.length,
  cachedData: compiledBefore(),
})
program.runInThisContext().call(exports, exports, require, module, __filename, __dirname, {
  version: PARTS.version,
  builtAt: PARTS.builtAt,
  file: __filename,
  thread: textOf(PARTS.thread),
  addonSha256: PARTS.addonSha256,
  addonBeside: openBeside('.sqlite.node'),
  page: PARTS.page
    ? { fd: opened, from: stat.size - PARTS.page.fromEnd + 2, length: PARTS.page.length - 2 }
    : undefined,
  encodedAddon: { fd: opened, from: stat.size - PARTS.addon.fromEnd + 2, length: PARTS.addon.length - 2 },
  script: program,
  programSha256: PARTS.programSha256,
})
