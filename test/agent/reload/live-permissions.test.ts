/** What the hub may ask and reach is taken by a reload. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadConfig } from '../../../agent/config/load.ts'
import type { AgentConfig } from '../../../agent/config/schema.ts'
import { createLivePermissions } from '../../../agent/reload/live-permissions.ts'
import { Reloader } from '../../../agent/reload/reloader.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'

const configOf = (more: string): AgentConfig => {
  const loaded = loadConfig(`control: {address: "wss://hub", roots: /r${more}}\nstate: /s\n`)
  return loaded.ok ? loaded.config : assert.fail(JSON.stringify(loaded.problems))
}

test('ports and commands that are named anew, or not any more, are taken at once', async () => {
  const next = [configOf(', connect: {ports: [80]}, commands: [logs]'), configOf('')]
  const told: unknown[] = []
  const reloader = new Reloader({
    config: configOf(''),
    readConfig: () => next.shift()!,
    log: silentLog,
    metrics: new Metrics(),
  })
  reloader.takeLive(
    createLivePermissions({ permitHub: ({ commands, connect }) => told.push([commands, connect.ports]) }),
  )
  for (let i = 0; i < 2; i++) assert.deepEqual((await reloader.reload()).needsRestart, [])
  assert.deepEqual(told, [
    [['logs'], ['127.0.0.1:80']],
    [['status'], []],
  ])
})
