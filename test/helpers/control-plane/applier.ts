import { Applier, type ApplierOptions } from '../../../control-sync/apply.ts'
import { Current } from '../../../core/current.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import { SimClock } from '../sim-clock.ts'

/** Without a disk, in simulated time. */
export const bareApplier = (more: Partial<ApplierOptions> = {}): Applier =>
  new Applier({
    node: 'n',
    tables: new Current<Tables>(EMPTY_TABLES),
    saver: undefined,
    clock: new SimClock(),
    log: silentLog,
    metrics: new Metrics(),
    ...more,
  })
