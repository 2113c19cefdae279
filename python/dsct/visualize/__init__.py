"""See what the model sees: one file per figure.

Every function returns a matplotlib figure, which notebooks show and `savefig` writes, or draws into given axes.
"""

from dsct.prediction.look import LayerLook, SubjectTrace
from dsct.prediction.person_colors import PERSON_COLORS, person_color
from dsct.visualize.activations import draw_activations
from dsct.visualize.calibration import calibration_figure
from dsct.visualize.contact_sheet import contact_sheet
from dsct.visualize.context import draw_context
from dsct.visualize.drawing.figure import NotebookFigure
from dsct.visualize.evaluation import class_figure, confusion_figure, subjects_figure
from dsct.visualize.k_sweep import draw_k_sweep
from dsct.visualize.loss_curves import loss_curves
from dsct.visualize.models import draw_models
from dsct.visualize.people import draw_people
from dsct.visualize.precision_recall import precision_recall_figure
from dsct.visualize.sampling import draw_sampling
from dsct.visualize.subgroups import subgroup_figure
from dsct.visualize.subject_positions import draw_subject_positions
from dsct.visualize.subject_trace import trace_subjects

# Earlier names, for programs that use them.
LookedAt = LayerLook
Picture = NotebookFigure

__all__ = [
    "PERSON_COLORS",
    "LayerLook",
    "LookedAt",
    "NotebookFigure",
    "Picture",
    "SubjectTrace",
    "calibration_figure",
    "class_figure",
    "confusion_figure",
    "contact_sheet",
    "draw_activations",
    "draw_context",
    "draw_k_sweep",
    "draw_models",
    "draw_people",
    "draw_sampling",
    "draw_subject_positions",
    "loss_curves",
    "person_color",
    "precision_recall_figure",
    "subgroup_figure",
    "subjects_figure",
    "trace_subjects",
]
