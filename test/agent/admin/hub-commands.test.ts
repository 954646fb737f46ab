import assert from 'node:assert/strict'
import zlib from 'node:zlib'
import { test } from 'node:test'
import { runHubCommand, type HubCommandParts } from '../../../agent/admin/hub-commands.ts'
import type { AgentStatus } from '../../../agent/admin/status.ts'
import type { CommandName } from '../../../model/fleet/command.ts'
import { SimClock } from '../../helpers/sim-clock.ts'

function rig() {
  const did: string[] = []
  const page = (body: string) => ({ method: 'GET' as const, help: '', handle: () => ({ body }) })
  const parts: HubCommandParts = {
    clock: new SimClock(),
    status: () => ({}) as AgentStatus,
    pages: new Map([['/status', page('{"password":"hunter2","state":"ready"}')]]),
    recentLines: (most) => ['one\n', '{"msg":"x","token":"abc"}\n'].slice(-most),
    identity: { certificateRefused: () => did.push('renew') },
    reloader: {
      reload: async () => {
        did.push('reload')
        return { applied: ['log.level'], needsRestart: ['state'], reasons: {} }
      },
    },
    reconnect: () => did.push('reconnect'),
  }
  const run = (command: CommandName, lines = 100) => runHubCommand({ command, lines, operator: 'ada' }, parts)
  return { did, run }
}

test('commands do what they say, and nothing else', async () => {
  const { did, run } = rig()
  for (const command of ['reconnect', 'renew', 'reload'] as const) await run(command)
  assert.deepEqual(did, ['reconnect', 'renew', 'reload'])
  assert.deepEqual(await run('reload'), { form: 'text', text: 'in force: log.level; after a restart: state\n' })
})

test('lines of the log and files of a bug report come without what is secret', async () => {
  const { run } = rig()
  const logs = await run('logs', 1)
  assert.ok(logs.form === 'text' && !logs.text.includes('abc') && !logs.text.includes('one'), JSON.stringify(logs))
  const report = await run('bug-report')
  assert.ok(report.form === 'file')
  const tar = zlib.gunzipSync(Buffer.from(report.content, 'base64')).toString('latin1')
  assert.match(tar, /status\.json/)
  assert.match(tar, /ready/)
  assert.ok(!tar.includes('hunter2'))
})
