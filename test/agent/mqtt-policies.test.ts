import { test } from 'node:test'
import assert from 'node:assert/strict'
import { loadConfig } from '../../agent/config/load.ts'
import { createListeners } from '../../agent/config/listeners.ts'
import { collectAclFiles, collectMqttPolicies } from '../../agent/mqtt-policies.ts'
import { systemDisk } from '../../core/os/disk.ts'
import { EMPTY_TABLES } from '../../model/tables.ts'

test('acl files and policies of all chains of a listener, those by TLS among them', () => {
  const loaded = loadConfig(`
control: {address: "a:1", roots: /r}
mqtt: {aclFile: /acl/all}
listeners:
  - {name: plain, kind: mqtt, port: 1}
  - {name: both, kind: mqtt, port: 2, transport: auto, tls: {mode: mutual}, plainText: true, mqtt: {aclFile: /acl/both}}
  - {name: web, kind: http, port: 3, routes: r}
`)
  const own = loaded.ok
    ? createListeners(loaded.config, { disk: systemDisk, findPskKey: () => undefined })
    : assert.fail(JSON.stringify(loaded.problems))
  assert.deepEqual(new Set(collectAclFiles(own)), new Set(['/acl/all', '/acl/both']))
  const chains = own.map(({ filterChains }) => ({ filterChains, defaultFilterChain: undefined }))
  assert.deepEqual(collectAclFiles(own.map((one, i) => ({ ...one, ...chains[i]! }))), ['/acl/both'])
  const files = (listener: string | undefined): (string | undefined)[] =>
    collectMqttPolicies(EMPTY_TABLES, own, listener).map(({ aclFile }) => aclFile)
  assert.deepEqual(files('both'), ['/acl/both'])
  assert.deepEqual(new Set(files(undefined)), new Set(['/acl/all', '/acl/both']))
  assert.deepEqual(files('web'), [])
})
