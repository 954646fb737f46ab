import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { NamedFiles } from '../../../core/os/named-files.ts'

function rig(t: TestContext): {
  readonly home: string
  readonly files: NamedFiles
  readonly clock: { nowMs: number }
  readonly put: (name: string, text?: string) => string
} {
  const home = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'named-files-')))
  t.after(() => fs.rmSync(home, { recursive: true }))
  fs.mkdirSync(path.join(home, 'certs'))
  const clock = { nowMs: 0 }
  const put = (name: string, text = name): string => {
    const file = path.join(home, name)
    fs.writeFileSync(file, text)
    return file
  }
  return {
    home,
    clock,
    put,
    files: new NamedFiles({
      folders: [path.join(home, 'certs')],
      systemRoots: path.join(home, 'system.pem'),
      nowMs: () => clock.nowMs,
    }),
  }
}

test('a file of a permitted folder is read, and read anew when it has changed', (t) => {
  const { files, put } = rig(t)
  const file = put('certs/a.pem', 'one')
  const first = files.read(file)
  assert.equal(first.text, 'one')
  assert.equal(files.read(file), first, 'the same as long as it is unchanged')
  put('certs/a.pem', 'another')
  assert.equal(files.read(file).text, 'another')
})
test('a link within the folder is followed, as Kubernetes changes its mounts; one that leads out is not, of the file or of a folder on its way', (t) => {
  const { files, home, put } = rig(t)
  fs.mkdirSync(path.join(home, 'certs/..v1'))
  put('certs/..v1/a.pem', 'mounted')
  fs.symlinkSync('..v1', path.join(home, 'certs/..data'))
  fs.symlinkSync('..data/a.pem', path.join(home, 'certs/a.pem'))
  assert.equal(files.read(path.join(home, 'certs/a.pem')).text, 'mounted')
  put('secret')
  fs.symlinkSync('../secret', path.join(home, 'certs/out.pem'))
  fs.symlinkSync(home, path.join(home, 'certs/up'))
  for (const name of ['certs/out.pem', 'certs/up/secret'])
    assert.throws(() => files.read(path.join(home, name)), { code: 'MESH_TLS_FILE', message: /leads out/ }, name)
})
test('nothing else is read: other folders, ways out by name, relative names, devices, pipes, folders, and what is too large', (t) => {
  const { files, home, put } = rig(t)
  put('secret')
  fs.mkdirSync(path.join(home, 'certs2'))
  put('certs2/a.pem')
  for (const name of [
    `${home}/secret`,
    `${home}/certs/../secret`,
    `${home}/certs2/a.pem`,
    'a.pem',
    '',
    '/etc/passwd',
    `${home}/certs/a\0b`,
  ]) {
    assert.equal(files.permits(name), false, name)
    assert.throws(() => files.read(name), { code: 'MESH_TLS_FILE' }, name)
  }
  execFileSync('mkfifo', [path.join(home, 'certs/pipe')])
  fs.mkdirSync(path.join(home, 'certs/folder'))
  put('certs/large', 'x'.repeat(1024 * 1024 + 1))
  for (const name of ['pipe', 'folder', 'large', 'missing'])
    assert.throws(() => files.read(path.join(home, 'certs', name)), { code: 'MESH_TLS_FILE' }, name)
})
test('what cannot be read is a problem until it can be, or nobody has asked for it for ten minutes', (t) => {
  const { files, home, put, clock } = rig(t)
  const missing = path.join(home, 'certs/a.pem')
  assert.throws(() => files.read(missing))
  assert.throws(() => files.systemRoots())
  assert.deepEqual(
    files.problems().map((p) => p.code),
    ['MESH_TLS_FILE', 'MESH_TLS_FILE'],
  )
  put('certs/a.pem')
  assert.deepEqual(
    files.problems().map((p) => /[a-z]+\.pem/.exec(p.message)?.[0]),
    ['system.pem'],
  )
  put('system.pem', 'ROOTS')
  assert.equal(files.systemRoots()?.text, 'ROOTS')
  assert.throws(() => files.read(path.join(home, 'certs/b.pem')))
  clock.nowMs = 600_001
  assert.deepEqual(files.problems(), [])
})
