/**
 * Exchanges that are under way. An answer may last for weeks (a stream of gRPC, server-sent events), and so may a
 * request: after each change of configuration policies are asked about it again, as about an open tunnel.
 */
import type { Current } from '../../core/current.ts'
import { guard } from '../../core/defects/guard.ts'
import type { MeshError } from '../../core/errors.ts'
import { LinkedList, type Place } from '../../core/runtime/linked-list.ts'
import type { Tables } from '../../model/tables.ts'

/** An exchange from its start to its end. */
export interface UnderWay {
  /** Ends it where policies refuse it now. Its connection has been asked by then (downstream/revalidate.ts). */
  revalidate(next: Tables, previous: Tables): void
  abort(error: MeshError): void
}

export class ExchangesUnderWay {
  readonly #all = new LinkedList<UnderWay>()

  /** For as long as the tables live. */
  constructor(tables: Current<Tables>) {
    tables.watch((next, previous) => {
      for (const exchange of this.#all) revalidate(exchange, next, previous)
    })
  }

  add(exchange: UnderWay): Place<UnderWay> {
    return this.#all.add(exchange)
  }
  delete(place: Place<UnderWay> | undefined): void {
    this.#all.delete(place)
  }
}

const revalidate = guard(
  'exchange',
  (error, exchange: UnderWay) => exchange.abort(error),
  (exchange: UnderWay, next: Tables, previous: Tables) => exchange.revalidate(next, previous),
)
