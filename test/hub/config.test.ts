import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { MeshError } from '../../core/errors.ts'
import { parseHubConfig } from '../../hub/config.ts'

const problem = (text: string): string => {
  try {
    parseHubConfig(text)
    return ''
  } catch (err) {
    assert.ok(err instanceof MeshError && err.code === 'MESH_CONFIG_INVALID', String(err))
    return err.message
  }
}

test('the smallest hub.yaml has a resources folder; the rest are defaults', () => {
  const config = parseHubConfig('resources: /r\n')
  assert.equal(config.listen, '0.0.0.0:15012')
  assert.equal(config.certificateTtlSec, 86_400)
  assert.equal(config.maxCertificateTtlSec, 90 * 86_400)
  assert.equal(config.limits.maxRequestBytes, 4 * 1024 * 1024)
  assert.ok(Object.isFrozen(config.limits))
})

for (const [name, text, want] of [
  ['an unknown key', 'resources: r\nresorces: x\n', /hub\.yaml:2: resorces: is not a setting/],
  ['no resources', 'listen: 1.2.3.4:5\n', /hub\.yaml:1: resources/],
  ['an address without port', 'resources: r\nlisten: hub\n', /hub\.yaml:2: listen: must be ADDRESS:PORT/],
  ['a port that does not exist', 'resources: r\nlisten: "[::]:70000"\n', /:2: listen/],
  [
    'a default life above the longest',
    'resources: r\nmaxCertificateTtlSec: 600\ncertificateTtlSec: 601\n',
    /:3: certificateTtlSec/,
  ],
  [
    'two mistakes',
    'resources: r\ntrustDomain: A B\nlog: {level: loud}\n',
    /2 mistakes[^]*:2: trustDomain[^]*:3: log\.level/,
  ],
] as const)
  test(`hub.yaml mistakes: ${name}`, () => assert.match(problem(text), want))

test('the example is valid as it stands, and with every default uncommented', () => {
  const text = fs.readFileSync('deploy/edge/hub.yaml', 'utf8')
  const config = parseHubConfig(text)
  const whole = text.replace(/^# (?= *[a-zA-Z]+:)/gm, '')
  assert.match(whole, /^ {2}maxStreams: 2000/m)
  // Both are off by default; the file shows what they look like.
  const off = { console: undefined, store: undefined }
  assert.deepEqual({ ...parseHubConfig(whole), ...off }, { ...config, ...off })
  assert.equal(config.state, '/var/lib/meshlet-hub')
})
