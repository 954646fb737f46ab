/** The mesh of the tests of istiod's habits. */
import { FakeIstiod } from '../../helpers/control-plane/fake-istiod.ts'
import { settle } from '../../helpers/sim-clock.ts'
import type { SyncedAgent } from '../../helpers/control-plane/synced-agent.ts'
import { edsCluster, httpListener, load, table } from '../../helpers/control-plane/synced-agent.ts'

export function mesh(): FakeIstiod {
  const istiod = new FakeIstiod()
  istiod.put(
    edsCluster('a'),
    edsCluster('b'),
    load('a', '10.0.0.1'),
    load('b', '10.0.0.2'),
    httpListener('l', '80'),
    table('80', 'a', 'b'),
  )
  return istiod
}
/** Until nothing moves any more. */
export async function calm(agent: SyncedAgent): Promise<void> {
  for (let i = 0; i < 12; i++) await settle()
  await agent.clock.advance(0)
}
