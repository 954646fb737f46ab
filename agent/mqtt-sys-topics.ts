import v8 from 'node:v8'
import type { BrokerOptions } from '../protocols/mqtt/broker.ts'
import type { AgentConfig } from './config/schema.ts'
import type { AgentFacts } from './facts.ts'

/** What the broker says of itself on `$SYS/broker/…`. */
export function describeBroker(
  config: AgentConfig,
  { version, output }: Pick<AgentFacts, 'version' | 'output'>,
): Pick<BrokerOptions, 'sys' | 'logLines'> {
  return {
    sys: {
      intervalSec: config.mqtt.sysIntervalSec,
      version,
      heapBytes: () => v8.getHeapStatistics().used_heap_size,
    },
    logLines: {
      isPublished: () => config.mqtt.logTopics,
      listen(take) {
        const listening = new DisposableStack()
        if (!output) return listening
        output.onLine = take
        listening.defer(() => {
          output.onLine = undefined
        })
        return listening
      },
    },
  }
}
