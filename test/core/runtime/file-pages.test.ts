import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { findFileRegions } from '../../../core/runtime/file-pages.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const PROGRAM = '/usr/bin/node'
const region = (head: string, { anonymous = 0, dirty = 0 } = {}): string => `${head}
Size:               4280 kB
Rss:                4280 kB
Private_Clean:      4280 kB
Private_Dirty:     ${String(dirty).padStart(8)} kB
Anonymous:         ${String(anonymous).padStart(8)} kB
THPeligible:           0
VmFlags: rd mr mw me sd
`

test('regions are those of files that nothing can have been written to', () => {
  const smaps = [
    region(`00400000-0082e000 r--p 00000000 fe:00 71                 ${PROGRAM}`),
    region(`0082e000-03489000 r-xp 0042d000 fe:00 71                 ${PROGRAM}`),
    // What the loader has relocated, and what is written to.
    region(`072a7000-072dc000 r--p 06ea6000 fe:00 71                 ${PROGRAM}`, { anonymous: 24, dirty: 24 }),
    region(`072dd000-072de000 r--p 06ea6000 fe:00 71                 ${PROGRAM}`, { dirty: 4 }),
    region(`072dc000-07308000 rw-p 06eda000 fe:00 71                 ${PROGRAM}`),
    region(`073dc000-07408000 r--s 06eda000 fe:00 71                 ${PROGRAM}`),
    region('7f81f6d80000-7f81f6f95000 r-xp 00000000 00:00 0 '),
    region('7f81f7000000-7f81f7100000 r-xp 00028000 fe:00 99                 /lib/x86_64-linux-gnu/libc.so.6'),
    region('7f81f8000000-7f81f8001000 r-xp 00000000 00:01 72                 /memfd:addon (deleted)'),
    region('7f81fa000000-7f81fa001000 r-xp 00000000 00:00 0                  [vdso]'),
  ].join('')
  assert.deepEqual(findFileRegions(smaps), [
    { from: 0x400000n, bytes: 0x42e000n },
    { from: 0x82e000n, bytes: 0x2c5b000n },
    { from: 0x7f81f7000000n, bytes: 0x100000n },
    { from: 0x7f81f8000000n, bytes: 0x1000n },
  ])
})

test('a region without its figures is left alone', () => {
  assert.deepEqual(findFileRegions(`00400000-0082e000 r--p 00000000 fe:00 71   ${PROGRAM}\nRss: 4 kB\n`), [])
  assert.deepEqual(findFileRegions(''), [])
})

const report = process.report.getReport() as { readonly header: { readonly glibcVersionRuntime?: string } }
const withoutGlibc = report.header.glibcVersionRuntime === undefined ? 'this machine has no glibc' : false

test('pages of files go, and the process goes on', { skip: withoutGlibc }, async (t) => {
  const child = spawn(process.execPath, [`${import.meta.dirname}/file-pages-child.ts`, temporaryFolder(t)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [said] = await Promise.all([text(child.stdout), once(child, 'exit')])
  const { fullMib, leastMib, rows } = JSON.parse(said) as Record<string, number>
  assert.ok(fullMib! - leastMib! >= 10, `${fullMib} MiB became ${leastMib}`)
  assert.equal(rows, 1)
})
