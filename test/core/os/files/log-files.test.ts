import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { LogFiles, type LogFilesOptions } from '../../../../core/os/files/log-files.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'

type Rig = { readonly files: LogFiles; readonly folder: string; readonly failures: string[]; readonly clock: SimClock }
function rig(t: TestContext, more: Partial<LogFilesOptions> = {}): Rig {
  const folder = temporaryFolder(t)
  const failures: string[] = []
  const clock = new SimClock()
  const onFailure = (file: string, err: unknown, lines: number): void => {
    failures.push(`${path.basename(file)} ${lines} ${err instanceof Error ? err.message : String(err)}`)
  }
  return {
    files: new LogFiles({ folders: [folder], maxFileBytes: 1_000, clock, onFailure, ...more }),
    folder,
    failures,
    clock,
  }
}
const line = (text: string): Buffer => Buffer.from(`${text}\n`)

test('lines are appended to what is there, by the end at the latest', async (t) => {
  const r = rig(t)
  const file = path.join(r.folder, 'a.log')
  fs.writeFileSync(file, 'before\n')
  assert.equal(r.files.write(file, line('one')), true)
  assert.equal(r.files.write(file, line('two')), true)
  await r.files[Symbol.asyncDispose]()
  assert.equal(fs.readFileSync(file, 'utf8'), 'before\none\ntwo\n')
})
test('a full file is renamed in place of the one before', async (t) => {
  const r = rig(t, { maxFileBytes: 10 })
  const file = path.join(r.folder, 'a.log')
  for (const text of ['first 4567', 'second 678', 'third'])
    for (const files of [
      new LogFiles({ folders: [r.folder], maxFileBytes: 10, clock: r.clock, onFailure: assert.fail }),
    ]) {
      files.write(file, line(text))
      await files[Symbol.asyncDispose]()
    }
  assert.equal(fs.readFileSync(`${file}.1`, 'utf8'), 'second 678\n')
  assert.equal(fs.readFileSync(file, 'utf8'), 'third\n')
  assert.deepEqual(fs.readdirSync(r.folder).sort(), ['a.log', 'a.log.1'])
})
test('files elsewhere are not permitted', (t) => {
  const r = rig(t)
  for (const file of ['/etc/passwd', 'a.log', `${r.folder}/../x`, `${r.folder}x/a`, r.folder, `${r.folder}/a\0b`]) {
    assert.equal(r.files.permits(file), false, file)
    assert.equal(r.files.write(file, line('x')), false, file)
  }
  assert.equal(r.files.permits(`${r.folder}/b/../a.log`), true)
})
test('no link is followed, neither of a file nor out of the folder, and no pipe is written to', async (t) => {
  const r = rig(t)
  const outside = temporaryFolder(t)
  fs.writeFileSync(`${outside}/a.log`, '')
  fs.symlinkSync(`${outside}/a.log`, `${r.folder}/link.log`)
  fs.symlinkSync(outside, `${r.folder}/folder`)
  fs.mkdirSync(`${r.folder}/taken.log`)
  for (const name of ['link.log', 'folder/a.log', 'taken.log', 'none/a.log'])
    assert.equal(r.files.write(`${r.folder}/${name}`, line('x')), true)
  await r.files[Symbol.asyncDispose]()
  assert.equal(fs.readFileSync(`${outside}/a.log`, 'utf8'), '')
  assert.deepEqual(r.failures.map((text) => text.split(' ').slice(0, 2).join(' ')).sort(), [
    'a.log 1',
    'a.log 1',
    'link.log 1',
    'taken.log 1',
  ])
})
test('what waits for a file is bounded, and so is the number of files', async (t) => {
  const r = rig(t)
  const big = Buffer.alloc(100_000, 97)
  const file = `${r.folder}/a.log`
  assert.deepEqual(
    [1, 2, 3].map(() => r.files.write(file, big)),
    [true, true, false],
  )
  for (let i = 0; i < 15; i++) assert.equal(r.files.write(`${r.folder}/${i}.log`, line('x')), true)
  assert.equal(r.files.write(`${r.folder}/one-more.log`, line('x')), false)
  await r.files[Symbol.asyncDispose]()
})
