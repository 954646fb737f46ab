#!/usr/bin/env node
// The first lines of a meshlet bundle. An old Node must be able to read this file (ECMAScript 5), to say that it is old; what follows is text until then (bundle-loader.cjs).
'use strict'
if (parseInt(process.versions.node, 10) < 26) {
  process.stderr.write(
    'meshlet needs Node 26 or newer, and ' + process.execPath + ' is Node ' + process.versions.node + '.\n',
  )
  process.exit(2)
}
// Node would open its inspector for it, in a program that holds keys.
process.on('SIGUSR1', function () {})
require('vm').compileFunction(LOADER, ['PARTS', 'require', 'module', '__filename', '__dirname'])(
  PARTS_TABLE,
  require,
  module,
  __filename,
  __dirname,
)
