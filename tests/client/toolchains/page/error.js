// An application's module that needs only the error.
import { DeputizeError } from "deputize";

document.title = String(DeputizeError.name);
