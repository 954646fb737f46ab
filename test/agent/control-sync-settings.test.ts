import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import {
  prepareState,
  readControlPlane,
  readNodeSettings,
  readToken,
  readSealer,
} from '../../agent/control-sync-settings.ts'
import { loadConfig } from '../../agent/config/load.ts'
import type { AgentConfig } from '../../agent/config/schema.ts'
import { MeshError } from '../../core/errors.ts'
import { systemDisk, type Disk } from '../../core/os/disk.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { testCa } from '../helpers/test-ca.ts'

function config(yaml: string): AgentConfig {
  const loaded = loadConfig(yaml)
  return loaded.ok ? loaded.config : assert.fail(JSON.stringify(loaded.problems))
}
/** @param files by name; `undefined` cannot be read */
const diskWith = (files: Record<string, string | undefined>): Disk => ({
  ...systemDisk,
  read: (file) => {
    if (!(file in files)) return undefined
    if (files[file] === undefined) throw new Error('EACCES')
    return Buffer.from(files[file])
  },
})
const codeOf = (fn: () => unknown): [string, string] => {
  try {
    fn()
  } catch (thrown) {
    assert.ok(thrown instanceof MeshError, String(thrown))
    return [thrown.code, thrown.message]
  }
  return assert.fail('nothing was thrown')
}
const CONTROL = 'control: {address: [a:1, b:2], roots: /roots, token: /token, serverName: s, maxMessageBytes: 70000}\n'
const plane = (files: Record<string, string | undefined>): ReturnType<typeof readControlPlane> =>
  readControlPlane(config(CONTROL).control!, 'c1', diskWith(files))

test('the control plane has what agent.yaml says of it', () => {
  const { addresses, serverName, clusterId, maxMessageBytes } = plane({})
  assert.deepEqual([addresses, serverName, clusterId, maxMessageBytes], [['a:1', 'b:2'], 's', 'c1', 70_000])
})

test('roots and token are read at every use, so that they may be rotated', () => {
  const [one, two] = [testCa().rootsPem, testCa().rootsPem]
  const files: Record<string, string> = { '/roots': one, '/token': 'first\n' }
  const made = plane(files)
  assert.deepEqual([made.roots().toString(), made.token()], [one, 'first'])
  Object.assign(files, { '/roots': two, '/token': 'second' })
  assert.deepEqual([made.roots().toString(), made.token()], [two, 'second'])
})

test('roots that are not there, cannot be read or are none are told with their setting', () => {
  for (const [files, why] of [
    [{}, 'control.roots: there is no file /roots'],
    [{ '/roots': undefined }, 'control.roots: /roots cannot be read'],
    [{ '/roots': 'text' }, 'control.roots: /roots holds no certificate'],
    [{ '/roots': '' }, 'control.roots: /roots holds no certificate'],
  ] as const)
    assert.deepEqual(
      codeOf(() => plane(files).roots()),
      ['MESH_CONFIG_INVALID', why],
    )
})

test('a token that is not there is none; a file that cannot be read is told', () => {
  assert.equal(plane({}).token(), undefined)
  assert.equal(plane({ '/token': ' \n' }).token(), undefined)
  assert.deepEqual(
    codeOf(() => plane({ '/token': undefined }).token()),
    ['MESH_CONFIG_INVALID', 'control.token: /token cannot be read'],
  )
  const without = readControlPlane(config('control: {address: "a:1", roots: /r}').control!, 'c', diskWith({}))
  assert.equal(without.token(), undefined)
})

test('what cannot be a token is refused and not repeated', () => {
  assert.equal(readToken(Buffer.from('\n a.b-c_d \n'), 'x'), 'a.b-c_d')
  assert.equal(readToken(Buffer.from('t'.repeat(16 * 1024)), 'x')?.length, 16 * 1024)
  for (const text of ['two words', 'a\nb', 'ä', 't'.repeat(16 * 1024 + 1)])
    assert.deepEqual(
      codeOf(() => readToken(Buffer.from(text), '/file')),
      ['MESH_TOKEN_INVALID', '/file holds something that is no token'],
    )
})

test('the key that the state is sealed with: none is asked for, or it has to be there', () => {
  const sealed = config('directory: d\nidentity: {encryptionKey: /key}\n')
  assert.equal(readSealer(config('directory: d'), diskWith({})), undefined)
  assert.ok(readSealer(sealed, diskWith({ '/key': 'k'.repeat(32) })))
  for (const [files, why] of [
    [{}, /^identity\.encryptionKey: there is no file \/key$/],
    [{ '/key': undefined }, /^identity\.encryptionKey: \/key cannot be read$/],
    [{ '/key': 'short' }, /^identity\.encryptionKey: \/key/],
  ] as const) {
    const [code, message] = codeOf(() => readSealer(sealed, diskWith(files)))
    assert.equal(code, 'MESH_CONFIG_INVALID')
    assert.match(message, why)
  }
})

const MACHINE = { version: '1.2.3', hostName: 'box', ip: '192.0.2.1' }

test('a node that agent.yaml does not name is the machine', () => {
  const { name, ip, version, dns, httpProxyPort, discoveryAddress, capture } = readNodeSettings(
    config('directory: d'),
    MACHINE,
  )
  assert.deepEqual(
    [name, ip, version, dns, httpProxyPort, discoveryAddress, capture],
    ['box', '192.0.2.1', '1.2.3', false, undefined, '', 'explicit'],
  )
})

test('what agent.yaml says of the node counts, and what the agent serves is told', () => {
  const settings = readNodeSettings(
    config(`${CONTROL}node: {name: n, ip: 10.0.0.9}\ndns: {}\nlisteners: [{name: p, kind: http_proxy, port: 3128}]\n`),
    MACHINE,
  )
  assert.deepEqual(
    [settings.name, settings.ip, settings.dns, settings.httpProxyPort, settings.discoveryAddress],
    ['n', '10.0.0.9', true, 3128, 'a:1'],
  )
})

test('a proxy that routes by a table of its own is none for the mesh', () => {
  const of = (routes: string): number | undefined =>
    readNodeSettings(
      config(`directory: d\nlisteners: [{name: p, kind: http_proxy, port: 3128, routes: ${routes}}]\n`),
      MACHINE,
    ).httpProxyPort
  assert.deepEqual([of('own'), of('http_proxy')], [undefined, 3128])
})

test('the state folder is made for its owner only, and nothing is left of the trial', (t) => {
  const folder = path.join(temporaryFolder(t), 'a/b')
  prepareState(folder, systemDisk)
  prepareState(folder, systemDisk)
  assert.equal(fs.statSync(folder).mode & 0o777, 0o700)
  assert.deepEqual(fs.readdirSync(folder), [])
})

for (const [what, thrown, code] of [
  ['is full', Object.assign(new Error('x'), { code: 'ENOSPC' }), 'MESH_STORAGE_FULL'],
  ['cannot be written to', Object.assign(new Error('x'), { code: 'EROFS' }), 'MESH_STATE_UNUSABLE'],
  ['says why itself', new MeshError('MESH_STATE_IN_USE', 'in use'), 'MESH_STATE_IN_USE'],
] as const)
  test(`a state folder that ${what}`, (t) => {
    const disk: Disk = {
      ...systemDisk,
      tryWriting: () => {
        throw thrown
      },
    }
    const folder = temporaryFolder(t)
    const [got, message] = codeOf(() => prepareState(folder, disk))
    assert.equal(got, code)
    assert.ok(got === 'MESH_STATE_IN_USE' || message.includes(folder))
  })
