/**
 * What an agent says of the sockets that it was started with; what it does with them is tested where they are real
 * (core/os/inherited-sockets.test.ts, conformance).
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { InheritedSockets } from '../../../core/os/inherited-sockets.ts'
import { TestAgent, until, type Finally } from '../site.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

function agentWith(t: Finally, inherited: InheritedSockets, more = ''): TestAgent {
  const folder = temporaryFolder(t)
  fs.mkdirSync(path.join(folder, 'resources'))
  const agent = new TestAgent(t, `node: {name: edge-1}\ndirectory: ${path.join(folder, 'resources')}\n${more}`)
  agent.over = { inherited }
  return agent
}

test('a socket that serves nobody is told by status and the log, once the configuration is there', async (t) => {
  const agent = agentWith(t, new InheritedSockets({ fds: [], problem: 'LISTEN_FDS=x is not a number up to 1024' }))
  await agent.start()
  await until('the agent is ready', () => agent.status().state === 'ready')
  assert.deepEqual(
    agent.status().problems.map((p) => `${p.code}: ${p.text}`),
    ['MESH_SOCKET_UNUSED: LISTEN_FDS=x is not a number up to 1024'],
  )
  await until('it is in the log', () =>
    agent.lines.some(
      (l) => l['evt'] === 'socket.unused' && (l['err'] as { code: string }).code === 'MESH_SOCKET_UNUSED',
    ),
  )
})

test('capture: transparent without the sockets for it', async (t) => {
  const agent = agentWith(t, new InheritedSockets({ fds: [] }), 'capture: transparent\n')
  await agent.start()
  await until('the agent is ready', () => agent.status().state === 'ready')
  assert.deepEqual(agent.problems(), ['MESH_CAPTURE_UNAVAILABLE'])
})
