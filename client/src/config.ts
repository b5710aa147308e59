/** The models that the package knows by itself. */

import type { AppConfig } from "./types.js";

/**
 * Empty on purpose: a record needs the absolute URL of a model that this version can load, and where a model lies is the
 * app's choice. Add records, or pass `appConfig`. The object is shared and may be changed, as in web-llm.
 */
export const prebuiltAppConfig: AppConfig = { model_list: [] };
